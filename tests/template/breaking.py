"""How a template is broken on purpose, in one place."""

from resolve import REMOVED


def put(*path, to, under="Resources"):
    """The fault of another value, or none, at a path."""
    def fault(template):
        node = template[under]
        for key in path[:-1]:
            node = node[key]
        if to is REMOVED:
            del node[path[-1]]
        else:
            node[path[-1]] = to
    return fault


def give(action, resource, role="AggregateRole"):
    """The fault of allowing a function's role something more."""
    def fault(stack):
        policy = stack["Resources"][role]["Properties"]["Policies"][0]
        policy["PolicyDocument"]["Statement"].append({"Effect": "Allow", "Action": action, "Resource": resource})
    return fault


def all_of(*faults):
    """Faults at once."""
    def fault(stack):
        for each in faults:
            each(stack)
    return fault
