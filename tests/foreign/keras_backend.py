"""The guide to Keras on the backend of this process: python keras_backend.py FOLDER."""

import sys

import keras
import numpy as np
from foreign.guides import run_guide

X = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
Y = np.tanh(X[:, :4])


class Seen(keras.callbacks.Callback):
    """Zeros of a kernel and how far it went, batch by batch; `stop` at the beginning of an epoch."""

    def __init__(self, stop=None):
        super().__init__()
        self.zeros, self.moved, self.stop = [], [], stop

    def kernel(self):
        return keras.ops.convert_to_numpy(self.model.layers[0].kernel).copy()

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.stop:
            raise InterruptedError

    def on_train_batch_begin(self, batch, logs=None):
        self.before = self.kernel()

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        self.zeros.append(self.kernel() == 0)
        self.moved.append(np.abs(self.kernel() - self.before).max())


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(4)])


def weights(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def main(folder):
    """Train as the guide says, check every batch, stop and go on."""
    whole, seen = network(), Seen()
    data = {"x": X, "y": Y, "settings": {"verbose": 0, "shuffle": False}}
    names = run_guide("keras", "Training", model=whole, callbacks=[seen], **data)
    assert len(seen.zeros) == 40
    assert not np.any(seen.zeros[:20])
    assert all(np.array_equal(zeros, seen.zeros[20]) and zeros.sum() == 64 for zeros in seen.zeros[20:30])
    assert seen.zeros[-1].sum() <= 2
    for first, factor in ((0, 1), (20, 1), (30, 0.1)):
        assert abs(seen.moved[first] / (0.98**first / 100 * factor) - 1) < 0.02, (first, seen.moved[first])
    data |= {"folder": folder, **{name: names[name] for name in ("keras", "schedule")}}
    for stop in (25, None):
        model = network()
        model.compile(keras.optimizers.Adam(1e-2), "mse")
        dsd = names["DSDCallback"](sparsity=0.5, epochs=(20, 10, 10))
        try:
            run_guide("keras", "Resuming", model=model, dsd=dsd, callbacks=[Seen(stop)], **data)
        except InterruptedError:
            assert stop == 25
        else:
            assert stop is None
    assert all(np.array_equal(one, other) for one, other in zip(weights(model), weights(whole), strict=True))
    model = network()
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True), "mse")
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[names["DSDCallback"](sparsity=0.5, epochs=(1, 1, 1)), Seen()])
    print(keras.backend.backend(), "holds")


if __name__ == "__main__":
    main(sys.argv[1])
