"""What self-supervision and mixing need: several views of a sample, hidden tokens, mixed samples, pairs of one patient."""
