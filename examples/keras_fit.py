"""DSD as a Keras 3 callback, on scikit-learn's handwritten digits.

pip install 'redense[keras]' && KERAS_BACKEND=torch python examples/keras_fit.py

Prints the training accuracy and the zeros of the first layer after every epoch: none, half in the two sparse epochs,
few in the two re-dense ones.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_digits

from redense.integrations.keras import DSDCallback


class PrintPhase(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        zeros = float((keras.ops.convert_to_numpy(self.model.layers[0].kernel) == 0).mean())
        print(f"epoch {epoch}: accuracy {100 * logs['accuracy']:.2f}%, {100 * zeros:.1f}% zeros in the first layer")


digits = load_digits()
model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(
    digits.data / 16,
    digits.target,
    epochs=8,
    verbose=0,
    callbacks=[DSDCallback(sparsity=0.5, epochs=(4, 2, 2)), PrintPhase()],
)
