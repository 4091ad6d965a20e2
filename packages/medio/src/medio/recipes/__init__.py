"""From folders as people have them to samples as shards store them."""

from medio.recipes.dicom_series import SeriesFolder, SeriesItem, SeriesRecipe, find_series
from medio.recipes.films import FilmFolder, FilmItem, FilmRecipe, find_films
from medio.recipes.volumes import VolumeCase, VolumeFolder, VolumeItem, VolumeRecipe, find_volumes

__all__ = [
    "FilmFolder",
    "FilmItem",
    "FilmRecipe",
    "SeriesFolder",
    "SeriesItem",
    "SeriesRecipe",
    "VolumeCase",
    "VolumeFolder",
    "VolumeItem",
    "VolumeRecipe",
    "find_films",
    "find_series",
    "find_volumes",
]
