"""The organs as implicit shapes: one file a region of the body, distances in mm that are negative inside."""
