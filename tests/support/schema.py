# SPDX-License-Identifier: MIT
"""
A validator for the part of JSON Schema that core/admin/openapi.json uses. A keyword that it does not know is a failure, so that
nothing in the file goes unchecked.
"""
import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
NOTES = {"description", "$ref"}


def has_type(value, name):
    if name in ("number", "integer"):
        whole = isinstance(value, int) or isinstance(value, float) and value.is_integer()
        return not isinstance(value, bool) and (whole if name == "integer" else isinstance(value, (int, float)))
    return isinstance(value, TYPES[name])


class Validator:
    """Validator(document).problems(value, schema): every place where the value is not as the schema says."""

    def __init__(self, document):
        self.document = document

    def resolve(self, schema):
        if "$ref" not in schema:
            return schema
        found = self.document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return self.resolve(found)

    def problems(self, value, schema, at="$"):
        schema = self.resolve(schema)
        found = []
        for keyword, wanted in schema.items():
            if keyword not in NOTES:
                found += getattr(self, "_" + keyword)(value, wanted, schema, at)
        return found

    def _type(self, value, names, _, at):
        names = [names] if isinstance(names, str) else names
        fits = any(has_type(value, name) for name in names)
        return [] if fits else [f"{at}: {value!r} is not of type {names}"]

    def _properties(self, value, properties, _, at):
        if not isinstance(value, dict):
            return []
        return [p for k, v in value.items() if k in properties for p in self.problems(v, properties[k], f"{at}.{k}")]

    def _required(self, value, names, _, at):
        return [f"{at}: {name} is missing" for name in names if isinstance(value, dict) and name not in value]

    def _additionalProperties(self, value, wanted, schema, at):
        more = [k for k in value if k not in schema.get("properties", {})] if isinstance(value, dict) else []
        if wanted is False:
            return [f"{at}: {k} is not in the schema" for k in more]
        return [] if wanted is True else [p for k in more for p in self.problems(value[k], wanted, f"{at}.{k}")]

    def _items(self, value, wanted, _, at):
        if not isinstance(value, list):
            return []
        return [p for i, item in enumerate(value) for p in self.problems(item, wanted, f"{at}[{i}]")]

    def _minItems(self, value, least, _, at):
        return [f"{at}: fewer than {least} items"] if isinstance(value, list) and len(value) < least else []

    def _enum(self, value, values, _, at):
        return [] if value in values else [f"{at}: {value!r} is none of {values}"]

    def _const(self, value, wanted, _, at):
        return [] if value is wanted else [f"{at}: {value!r} is not {wanted!r}"]

    def _anyOf(self, value, schemas, _, at):
        tried = [self.problems(value, schema, at) for schema in schemas]
        return [] if [] in tried else [p for problems in tried for p in problems]

    def _minimum(self, value, least, _, at):
        return [f"{at}: {value} is below {least}"] if has_type(value, "number") and value < least else []

    def _exclusiveMinimum(self, value, least, _, at):
        return [f"{at}: {value} is not above {least}"] if has_type(value, "number") and value <= least else []

    def _maxLength(self, value, most, _, at):
        return [f"{at}: longer than {most}"] if isinstance(value, str) and len(value) > most else []

    def _format(self, value, name, _, at):
        assert name == "date-time", name
        fits = not isinstance(value, str) or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value)
        return [] if fits else [f"{at}: {value!r} is no time"]
