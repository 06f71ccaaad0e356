"""Take a folder from its inputs to its outputs."""
