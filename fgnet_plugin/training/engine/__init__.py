"""The training loop: one stage on one or several processes, with exact resumption."""
