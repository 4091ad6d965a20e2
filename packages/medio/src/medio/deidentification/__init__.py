"""De-identification after PS3.15 Annex E, and the proof that it worked."""
