"""Settings of the training's stages, read from YAML."""
