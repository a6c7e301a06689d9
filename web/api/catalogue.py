"""Products and their prices: the whole shop's, so written with an operator's key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path
from pydantic import ValidationError

from pipeline.intake.files.products import ProductRow
from pipeline.intake.schema import Sku
from pipeline.problems import Problem
from pipeline.problems import problems as problems_of
from pipeline.storage import catalogue
from pipeline.storage.catalogue import ProductIn
from web.api import shapes
from web.api import shop_models as models
from web.api.examples import PRODUCT
from web.api.models import Most, Next
from web.bodies import reads
from web.callers import CatalogueReader, CatalogueWriter
from web.cursors import cursor, position
from web.problems import Refusal, invalid
from web.routing import WITH_BODY, problems, router_of, takes

router = router_of("catalogue")

SkuPath = Annotated[Sku, Path(description="A SKU.")]


@router.get("/products", operation_id="listProducts", response_model=shapes.Page[shapes.Product])
def ls(
    caller: CatalogueReader, limit: Most = 50, after: Next = None
) -> shapes.Page[shapes.Product]:
    """List products with their prices, by SKU."""
    last = position(after, str)[0] if after else None
    with caller.read() as tx:
        found = catalogue.page(tx, after=last, most=limit)
    items = [shapes.Product(**product) for product in found]
    more = cursor(items[-1].sku) if len(items) == limit else None
    return shapes.Page[shapes.Product](items=items, next=more)


@router.get(
    "/products/{sku:path}",
    operation_id="getProduct",
    response_model=shapes.Product,
    responses=problems(404),
)
def show(caller: CatalogueReader, sku: SkuPath) -> shapes.Product:
    """Show a product with its prices."""
    with caller.read() as tx:
        found = catalogue.one(tx, sku)
    if found is None:
        raise Refusal(404, "", f"there is no product {sku!r}")
    return shapes.Product(**found)


@router.put(
    "/products/{sku:path}",
    operation_id="putProduct",
    response_model=shapes.Product,
    responses={**WITH_BODY, **problems(404)},
    openapi_extra=takes(models.ProductIn, PRODUCT),
)
def put(
    caller: CatalogueWriter,
    sku: SkuPath,
    given: Annotated[models.ProductIn, Depends(reads(models.ProductIn))],
) -> shapes.Product:
    """Make a product, or replace what is said of it. What is left out stays, prices among it."""
    batch = _products(sku, given)
    with caller.write() as tx:
        catalogue.put(tx, batch)
        found = catalogue.one(tx, sku)
    return shapes.Product(**found)  # type: ignore[arg-type] # it was just made


def _products(sku: str, given: models.ProductIn) -> list[ProductIn]:
    """By the rules of imported files: a row for each price, or one without any."""
    shared = given.model_dump(exclude={"prices"}, exclude_none=True)
    rows: list[ProductIn] = []
    wrong: list[Problem] = []
    prices = [price.model_dump(exclude_none=True) for price in given.prices]
    for n, price in enumerate(prices or [{}]):
        try:
            rows.append(ProductRow.model_validate({**price, **shared, "sku": sku}).product())
        except ValidationError as error:
            wrong += [_placed(problem, n, price) for problem in problems_of(error)]
    if wrong:
        raise invalid(list(dict.fromkeys(wrong)))
    return rows


def _placed(problem: Problem, n: int, price: dict[str, Any]) -> Problem:
    """Said of the price, where the field is one of a price's."""
    of_product = problem.field.partition(".")[0] in models.ProductIn.model_fields
    if of_product or not price:
        return problem
    return Problem(f"prices.{n}.{problem.field}", problem.value, problem.expected)
