"""Is this endpoint fit to be measured? Raw HTTP, so that no SDK hides a fault (inference specification 6)."""
