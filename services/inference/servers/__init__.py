"""Servers from their start to their end: begun, listed, awaited, corrected by what their launchers say, stopped."""
