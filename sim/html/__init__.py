"""`qblif report`: networks, what is measured of them, and the paper's figures, as one HTML page that needs no network.

page: collects and writes; pictures: draws; paper: figures taken from the paper; page.html: the template.
"""

from .page import Made, write

__all__ = ["Made", "write"]
