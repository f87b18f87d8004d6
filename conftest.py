"""What has to be so before any test, or doctest, is collected."""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"
# several test processes run side by side; more threads in each would wait for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")
