"""Which sample comes when, and how it reaches the model."""
