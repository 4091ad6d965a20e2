"""From folders as people have them to samples as shards store them."""

from medio.recipes.annotations import Annotations, Prior
from medio.recipes.dicom_series import SeriesFolder, SeriesItem, SeriesRecipe, find_masks, find_series
from medio.recipes.films import FilmFolder, FilmItem, FilmRecipe, find_films
from medio.recipes.priors import link_priors
from medio.recipes.series_volumes import SplitItems, split_volumes
from medio.recipes.tables import Joined, join_table
from medio.recipes.volumes import VolumeCase, VolumeFolder, VolumeItem, VolumeRecipe, find_volumes

__all__ = [
    "Annotations",
    "FilmFolder",
    "FilmItem",
    "FilmRecipe",
    "Joined",
    "Prior",
    "SeriesFolder",
    "SeriesItem",
    "SeriesRecipe",
    "SplitItems",
    "VolumeCase",
    "VolumeFolder",
    "VolumeItem",
    "VolumeRecipe",
    "find_films",
    "find_masks",
    "find_series",
    "find_volumes",
    "join_table",
    "link_priors",
    "split_volumes",
]
