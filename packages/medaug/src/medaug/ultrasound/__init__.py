"""Ultrasound: speckle, gain along depth, shadows and haze."""
