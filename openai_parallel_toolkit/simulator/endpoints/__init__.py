"""What the simulator serves: a module for each endpoint."""
