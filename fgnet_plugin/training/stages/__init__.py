"""What each training stage computes: its losses, steps and validation."""
