"""Detection over folders of recordings, on many processes and machines."""
