"""Networks to train: the reference network, a perceptron, a ResNet, or anybody's factory."""
