"""A 3D GAN that learns to simulate particle showers in a calorimeter."""
