"""The report of a run: one self-contained HTML page, and an index of all of them."""

from pipeline.report.reached import NewProduct, ReachedCustomer, Reason, new_products_reached
from pipeline.report.render import write_report

__all__ = ["NewProduct", "ReachedCustomer", "Reason", "new_products_reached", "write_report"]
