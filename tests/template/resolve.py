"""From template.yaml to the plain resources of a stack: no transform, parameter or condition is left.

Refuses to know what the resources should look like.
"""

import copy
import logging
import re
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns at exit that nobody collected its metrics

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"

REMOVED = object()


class Broken(Exception):
    """The template cannot be read, or a tool not run, far enough to check it."""


def read():
    """The template as written."""
    return yaml_parse(TEMPLATE.read_text())


def expand(source):
    """The template after the SAM transform, with parameters, conditions and intrinsic functions still in place."""

    class NoManagedPolicies:
        def load(self):
            return {}

    source = copy.deepcopy(source)
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://tidemark-code/function.zip"
    return transform(source, {}, NoManagedPolicies())


def parameters_of(source, overrides):
    """Every parameter's value as CloudFormation would take it: a string."""
    if unknown := overrides.keys() - source["Parameters"].keys():
        raise Broken(f"no parameter {', '.join(sorted(unknown))}: adapt variants.py to the template")
    values = {}
    for name, parameter in source["Parameters"].items():
        if name not in overrides and "Default" not in parameter:
            raise Broken(f"parameter {name} has no default: give it one, a first deployment must ask for nothing")
        values[name] = str(overrides.get(name, parameter.get("Default")))
    return values


def outside_constraints(source, parameters):
    """What CloudFormation would refuse of the values one by one."""
    for name, value in parameters.items():
        parameter = source["Parameters"][name]
        if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
            yield f"{name}: {value!r} is not among its AllowedValues"
        # Of a list, CloudFormation asks it of each value.
        values = value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]
        if "AllowedPattern" in parameter and not all(re.search(parameter["AllowedPattern"], each) for each in values):
            yield f"{name}: {value!r} does not match its AllowedPattern"
        if parameter["Type"] == "Number" and not (
                parameter.get("MinValue", float(value)) <= float(value) <= parameter.get("MaxValue", float(value))):
            yield f"{name}: {value} is outside its MinValue and MaxValue"


def violated_rules(source, parameters):
    """What the template's own rules would refuse of the values together."""
    return [
        assertion["AssertDescription"]
        for rule in source.get("Rules", {}).values()
        if "RuleCondition" not in rule or holds(rule["RuleCondition"], parameters)
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"], parameters)
    ]


def truth_of(source, parameters):
    """Which conditions hold, by name."""
    conditions = source.get("Conditions", {})
    return {name: holds(test, parameters, conditions) for name, test in conditions.items()}


def resolve(expanded, parameters):
    """The resources and outputs that a stack with these parameters would have."""
    truth = truth_of(expanded, parameters)

    def true(name):
        if name not in truth:
            raise Broken(f"condition {name} is used and not defined: add it to Conditions, or correct its name")
        return truth[name]

    def plain(node):
        match node:
            case {"Ref": "AWS::NoValue"}:
                return REMOVED
            case {"Ref": name} if name in parameters:
                return typed(parameters[name], expanded["Parameters"][name]["Type"])
            case {"Fn::If": [condition, then, otherwise]}:
                return plain(then if true(condition) else otherwise)
            case {"Fn::Sub": str(text)}:
                filled = re.sub(r"\$\{(\w+)\}", lambda found: parameters.get(found[1], found[0]), text)
                return {"Fn::Sub": filled} if "${" in filled else filled
            case dict():
                return folded({key: value for key, child in node.items() if (value := plain(child)) is not REMOVED})
            case list():
                return [value for child in node if (value := plain(child)) is not REMOVED]
        return node

    def section(name):
        return {
            key: plain({k: v for k, v in item.items() if k != "Condition"})
            for key, item in expanded.get(name, {}).items()
            if "Condition" not in item or true(item["Condition"])
        }

    return {
        "AWSTemplateFormatVersion": expanded["AWSTemplateFormatVersion"],
        "Resources": section("Resources"),
        "Outputs": section("Outputs"),
    }


def holds(test, parameters, conditions=None):
    """Evaluates a condition, or a part of a rule."""
    [(function, argument)] = test.items()

    def value(node):
        match node:
            case {"Ref": name}:
                return parameters[name]
            case {"Fn::Join": [separator, {"Ref": name}]}:
                return separator.join(parameters[name].split(","))
        return str(node)

    match function:
        case "Condition":
            return holds(conditions[argument], parameters, conditions)
        case "Fn::Equals":
            return value(argument[0]) == value(argument[1])
        case "Fn::Not":
            return not holds(argument[0], parameters, conditions)
        case "Fn::And":
            return all(holds(each, parameters, conditions) for each in argument)
        case "Fn::Or":
            return any(holds(each, parameters, conditions) for each in argument)
    raise Broken(f"cannot evaluate {function} in a condition: teach resolve.py or write it with Equals, Not, And, Or")


def typed(text, kind):
    """A parameter's value as a resource sees it."""
    match kind:
        case "Number":
            return float(text) if "." in text else int(text)
        case "CommaDelimitedList":
            return [part for part in text.split(",") if part]
    return text


def folded(node):
    """An intrinsic function of plain values as its value, so that ARNs are whole."""
    match node:
        case {"Fn::Split": [separator, str(text)]}:
            return text.split(separator)
        case {"Fn::Select": [index, [*parts]]}:
            return parts[int(index)]
        case {"Fn::Join": [separator, [*parts]]} if all(isinstance(part, str) for part in parts):
            return separator.join(parts)
    return node
