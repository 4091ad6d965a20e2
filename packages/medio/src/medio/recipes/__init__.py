"""From folders as people have them to samples as shards store them."""

from medio.recipes.films import FilmFolder, FilmItem, FilmRecipe, find_films
from medio.recipes.volumes import VolumeCase, VolumeFolder, VolumeItem, VolumeRecipe, find_volumes

__all__ = ["FilmFolder", "FilmItem", "FilmRecipe", "VolumeCase", "VolumeFolder", "VolumeItem", "VolumeRecipe", "find_films", "find_volumes"]
