"""`python -m medaug.show PRESET IMAGE`: what a preset does to an image, as a picture."""
