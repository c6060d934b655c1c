"""Networks that are trained beside FG-Net, and the weights that a training starts from."""
