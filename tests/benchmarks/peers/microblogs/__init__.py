"""The microblog once more, as users of Flask, Django and Starlette would write it: same pages, same data."""
