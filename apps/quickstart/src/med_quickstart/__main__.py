"""`python -m med_quickstart`: the same as `med-quickstart`."""

from med_quickstart.cli import main

main()
