"""Reading images along a plan, once."""
