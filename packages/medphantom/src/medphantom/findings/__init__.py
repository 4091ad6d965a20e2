"""What can be wrong with a thorax: one file a finding, each with its parameters, its drawing and its truth."""
