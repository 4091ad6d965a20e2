"""Reports in several styles, the statements that they make, and questions with their answers, all written from the truth."""
