"""What everything rests on: data, errors, time, the file system."""
