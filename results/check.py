#!/usr/bin/env python3
"""check.py RESULT.json... -- holds results to schema.json and to what a schema cannot say; exit 77 without jsonschema."""
import json
import os
import sys

try:
    import jsonschema
except ImportError:
    print("python3-jsonschema is not installed")
    sys.exit(77)


def histograms(value):
    if isinstance(value, dict):
        if "histogram" in value:
            yield value
        for item in value.values():
            yield from histograms(item)


def consistent(result):
    """Sums that must hold, as sentences when they do not."""
    if result["kind"] != "bench":
        return
    labels = {engine["name"] for engine in result["engines"]}
    for cell in result["cells"]:
        if cell["engine"] not in labels:
            yield f"a cell of engine {cell['engine']}, which is not in engines"
        for phase in cell["phases"]:
            where = f"{cell['engine']} round {cell['round']} phase {phase['name']}"
            kinds = sum(kind["ops"] for kind in phase["by_kind"].values())
            if kinds != phase["ops"]:
                yield f"{where}: by_kind has {kinds} ops, the phase {phase['ops']}"
            for hist in histograms(phase["latency_ns"]):
                if sum(count for _, count in hist["histogram"]) != hist["count"]:
                    yield f"{where}: a histogram does not hold its count"
                if not hist["min"] <= hist["p50"] <= hist["p99"] <= hist["p999"] <= hist["max"]:
                    yield f"{where}: quantiles out of order"
            if phase["timeseries"] and sum(n for _, n in phase["timeseries"]) > phase["ops"] + sum(phase["errors"].values()):
                yield f"{where}: more ops in the time series than in the phase"
    for row in result["summary"] + result["ratios"]:
        if row["n"] != len(row["samples"]):
            yield f"{row['engine']} {row['metric']}: n is {row['n']}, and there are {len(row['samples'])} samples"
    if result["complete"] and len(result["cells"]) != len(result["engines"]) * result["settings"]["rounds"]:
        yield "complete, and cells are missing"


def main():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema.json")) as stream:
        schema = json.load(stream)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    bad = 0
    for path in sys.argv[1:]:
        with open(path) as stream:
            result = json.load(stream)
        for error in list(validator.iter_errors(result))[:20]:
            deepest = jsonschema.exceptions.best_match([error])
            print(f"{path}: {'/'.join(map(str, deepest.absolute_path))}: {deepest.message[:300]}")
            bad += 1
        if not bad:
            for sentence in consistent(result):
                print(f"{path}: {sentence}")
                bad += 1
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
