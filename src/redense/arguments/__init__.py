"""Arguments of public functions and classes, checked by their annotations before anything is done with them.

`validated` is the one check there is. What a type cannot say stands in the annotation, as
``Annotated[float, SHARE]`` or
``Annotated[npt.ArrayLike, Numbers("[n]")]``. Whatever is none of it ends in one error of one line: the argument, what
was got, what is expected. Values that mean the same come in one form: a NumPy integer is an integer, tensors and lists
of numbers are arrays of NumPy, a bool is no number.
"""

from redense.arguments.arrays import Numbers as Numbers
from redense.arguments.rules import BELOW_ONE as BELOW_ONE
from redense.arguments.rules import CHECKED as CHECKED
from redense.arguments.rules import COUNT as COUNT
from redense.arguments.rules import FINITE as FINITE
from redense.arguments.rules import FRACTION as FRACTION
from redense.arguments.rules import INSIDE as INSIDE
from redense.arguments.rules import SHARE as SHARE
from redense.arguments.rules import SOME as SOME
from redense.arguments.rules import Confidence as Confidence
from redense.arguments.rules import Count as Count
from redense.arguments.rules import Delta as Delta
from redense.arguments.rules import Interval as Interval
from redense.arguments.rules import Must as Must
from redense.arguments.rules import NotNegative as NotNegative
from redense.arguments.rules import Positive as Positive
from redense.arguments.rules import Rate as Rate
from redense.arguments.rules import SharedConfidence as SharedConfidence
from redense.arguments.rules import Shares as Shares
from redense.arguments.rules import Sparsity as Sparsity
from redense.arguments.rules import at_most as at_most
from redense.arguments.rules import called as called
from redense.arguments.validate import validated as validated
from redense.arguments.words import described as described
