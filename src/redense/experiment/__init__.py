"""The researcher's wing: from a recipe to trained phases, results and a report; all that `redense run` needs."""
