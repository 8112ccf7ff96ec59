"""What surrounds a training and a prediction: folders, checkpoints, metrics, pictures."""
