"""Networks to train: the published network, a perceptron, a ResNet, or anybody's factory."""
