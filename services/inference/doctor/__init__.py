"""`inference doctor`: checks of an endpoint by raw HTTP, so that no SDK hides a fault."""
