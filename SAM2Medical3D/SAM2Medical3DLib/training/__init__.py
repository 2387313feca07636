"""Training: synthetic volumes, clips, losses and the loop. Not needed to use the models."""
