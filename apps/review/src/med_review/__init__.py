"""A page on which clinicians review predictions, and what they said, with intervals."""
