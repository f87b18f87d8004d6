"""Data of Hugging Face's `datasets`: a function returns a training and a test part, and redense takes them as they are.

python examples/hugging_face_data.py

Prints what redense sees, images scaled to [0, 1] with the names of their classes, and the table of a short run. The
function may be named on the command line, too, in the folder where this file lies:

    redense run --data hugging_face_data:digits --epochs 5 5 5

The digits are made into a data set here, so that this runs offline; `load_dataset("ylecun/mnist")` has the same form.
"""

import tempfile

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from sklearn.datasets import load_digits

import redense

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def digits() -> DatasetDict:
    source = load_digits()
    pixels = (source.images * 255 / 16).astype("uint8")
    columns = {"image": list(pixels), "label": source.target.tolist()}
    features = Features({"image": Image(), "label": ClassLabel(names=NAMES)})
    return Dataset.from_dict(columns, features=features).train_test_split(test_size=0.25, seed=0)


if __name__ == "__main__":
    data = redense.data.load("hugging_face_data:digits")
    print(f"{len(data.y_train)} and {len(data.y_test)} images {data.input_shape}: {', '.join(data.classes)}")
    recipe = redense.Recipe(data="hugging_face_data:digits", model="mlp", sparsities=(0.5,), epochs=(5, 5, 5))
    with tempfile.TemporaryDirectory() as folder:
        print(redense.run(recipe, folder, workers=0))
