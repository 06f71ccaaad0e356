"""What calls cost and may cost."""
