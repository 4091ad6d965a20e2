"""What an archive holds: its index, series and studies."""
