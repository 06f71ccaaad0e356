"""A folder to try the toolkit on: texts that every machine has, and a subclass to change."""
