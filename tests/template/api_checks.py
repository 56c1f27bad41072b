"""What must hold of a stack's HTTP APIs, and of the function behind them.

Every function is a check: it yields what is wrong and what to do.
"""

import json

from resources import apis, functions, listed, of_type, operations, stages, statements, variables, with_policies

# Every route, and what a token must say for it; the open ones are the keys' API's alone.
OPEN_ROUTES = {"GET /", "GET /health", "GET /openapi.json"}
ROUTES = {
    "GET /metrics": "admin",
    "GET /analytics/{proxy+}": "read",
    "POST /analytics/events": "ingest",
    "POST /analytics/events/batch": "ingest",
    "POST /analytics/metrics": "ingest",
    "POST /analytics/metrics/batch": "ingest",
}
INTEGRATION = {"$ref": "#/components/x-amazon-apigateway-integrations/function"}
INVOKED = {
    "type": "aws_proxy",
    "httpMethod": "POST",
    "payloadFormatVersion": "2.0",
    "uri": {"Fn::Sub": [
        "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${function}/invocations",
        {"function": {"Fn::GetAtt": ["ApiFunction", "Arn"]}}]},
}
LOGGED = {"time", "request", "functionRequest", "route", "status", "ms", "error", "authorizerError", "functionError"}
# The gateway waits no longer than 30 seconds.
LONGEST = 29

ALARMED = {
    "ApiLatencyAlarm": {"MetricName": "Duration", "ExtendedStatistic": "p99"},
    "ApiThrottlesAlarm": {"MetricName": "Throttles", "Statistic": "Sum"},
}
FAILURES = {"ApiFailuresAlarm": "Api", "JwtApiFailuresAlarm": "JwtApi"}

KAFKA_CLUSTER = {"kafka-cluster:Connect", "kafka-cluster:WriteDataIdempotently"}
KAFKA_TOPIC = {"kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"}


def the_apis_have_the_routes_that_are_served_and_no_others(stack):
    for name, body in apis(stack).items():
        wanted = ROUTES.keys() | (set() if name == "JwtApi" else OPEN_ROUTES)
        found = operations(body).keys()
        for route in sorted(wanted - found):
            yield f"{name}: {route} is missing; the function serves it"
        for route in sorted(found - wanted):
            yield f"{name}: {route} is not known to the checks; add it to ROUTES, with the scope it asks for"


def every_route_invokes_the_function_as_it_reads_requests(stack):
    for name, body in apis(stack).items():
        for route, operation in operations(body).items():
            if operation.get("x-amazon-apigateway-integration") != INTEGRATION:
                yield f"{name}: {route} has another integration; want {INTEGRATION}"
        found = body.get("components", {}).get("x-amazon-apigateway-integrations", {}).get("function")
        if found != INVOKED:
            yield f"{name}: its integration is {found}; want {INVOKED}"


def the_function_may_be_invoked_by_its_gateways_alone(stack):
    permissions = [item["Properties"] for item in of_type(stack, "AWS::Lambda::Permission").values()]
    wanted = [{
        "FunctionName": {"Ref": "ApiFunction"},
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": {"Fn::Sub": (
            f"arn:${{AWS::Partition}}:execute-api:${{AWS::Region}}:${{AWS::AccountId}}:${{{name}}}/*")},
    } for name in apis(stack)]
    for permission in permissions:
        if permission not in wanted:
            yield f"{permission} may invoke; want {wanted} alone"
    for permission in wanted:
        if permission not in permissions:
            yield f"{permission['SourceArn']} may not invoke the function; add a permission"


def the_function_gives_up_before_its_gateway(stack):
    if functions(stack)["ApiFunction"]["Timeout"] > LONGEST:
        yield f"ApiFunction: set Timeout to {LONGEST}; the gateway waits no longer than 30 seconds"


def tokens_are_taken_where_an_issuer_is_given(stack):
    issuer = variables(functions(stack)["ApiFunction"]).get("JWT_ISSUER")
    if ("JwtApi" in apis(stack)) != bool(issuer):
        yield f"JwtApi: JWT_ISSUER is {issuer!r}; give it the condition of that"


def the_gateway_looks_at_tokens_before_the_function_does(stack):
    for name, body in apis(stack).items():
        schemes = body.get("components", {}).get("securitySchemes", {})
        if name != "JwtApi":
            if schemes or any("security" in operation for operation in operations(body).values()):
                yield f"{name}: callers with keys have no token; take its authorizer away"
            continue
        given = variables(functions(stack)["ApiFunction"])
        issuer, audience = given.get("JWT_ISSUER"), given.get("JWT_AUDIENCE")
        wanted = {"token": {"type": "oauth2", "x-amazon-apigateway-authorizer": {
            "type": "jwt",
            "identitySource": "$request.header.Authorization",
            "jwtConfiguration": {"issuer": issuer, "audience": [audience]}}}}
        if schemes != wanted or not audience:
            yield f"{name}: its authorizer is {schemes}; want {wanted}"
        for route, operation in operations(body).items():
            scopes = [{"token": [ROUTES[route]]}] if route in ROUTES else None
            if operation.get("security") != scopes:
                yield f"{name}: {route} asks for {operation.get('security')}; want {scopes}"


def every_route_is_throttled_and_ingestion_the_most(stack):
    for name, body in apis(stack).items():
        stage = stages(stack)[name]
        every, routes = stage.get("DefaultRouteSettings", {}), stage.get("RouteSettings", {})
        for key in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
            if not every.get(key, 0) > 0:
                yield f"{name}: set {key} in DefaultRouteSettings, otherwise the account's limit is the wall"
                continue
            for route in sorted(operations(body)):
                limit = routes.get(route, {}).get(key)
                if route.startswith("POST ") and not (limit and 0 < limit < every[key]):
                    yield f"{name}: {key} of {route} is {limit}; want less than the {every[key]} of reads"
        for route in sorted(routes.keys() - operations(body).keys()):
            yield f"{name}: {route} has settings and is no route; deploying it would fail"


def requests_are_logged_and_nobody_s_address(stack):
    for name, stage in stages(stack).items():
        settings = stage.get("AccessLogSettings", {})
        group = settings.get("DestinationArn", {}).get("Fn::GetAtt", [None])[0]
        if group not in of_type(stack, "AWS::Logs::LogGroup"):
            yield f"{name}: set AccessLogSettings to a log group of the template"
            continue
        try:
            fields = json.loads(settings.get("Format", ""))
        except json.JSONDecodeError:
            yield f"{name}: the access log's format is no JSON: {settings.get('Format')}"
            continue
        if missing := sorted(LOGGED - fields.keys()):
            yield f"{name}: the access log lacks {missing}"
        for value in fields.values():
            if any(part in value for part in ("identity", "path", "Path", "claims", "header", "query")):
                yield f"{name}: the access log has {value}, in which stand addresses, ids or tokens; leave it out"


def browsers_may_ask_from_the_origins_that_are_given_alone(stack):
    origins = variables(functions(stack)["ApiFunction"]).get("ALLOWED_ORIGINS", "")
    given = [origin for origin in origins.split(",") if origin]
    for name, body in apis(stack).items():
        cors = body.get("x-amazon-apigateway-cors", {})
        origins = cors.get("allowOrigins", [])
        if origins != given or bool(cors) != bool(given):
            yield f"{name}: pages of {origins} may ask; want {given}, as the function has it"
        if any("*" in origin for origin in origins) or cors.get("allowCredentials"):
            yield f"{name}: {cors} lets any page ask, or sends cookies; name the origins, and leave cookies out"
        if cors and set(cors.get("allowMethods", [])) != {"GET", "POST"}:
            yield f"{name}: pages may {cors.get('allowMethods')}; want GET and POST"


def the_secret_is_made_or_given_and_kept(stack):
    secret = variables(functions(stack)["ApiFunction"]).get("API_SECRET")
    store = stack["Resources"].get("ApiSecretStore")
    if store is None:
        if not isinstance(secret, str) or len(secret) < 32:
            yield "ApiFunction: API_SECRET is too short to be one, and none is made"
        return
    if secret != {"Fn::Sub": "{{resolve:secretsmanager:${ApiSecretStore}}}"}:
        yield "ApiFunction: API_SECRET is not the one that is made; resolve it from ApiSecretStore"
    if store["Properties"].get("GenerateSecretString", {}).get("PasswordLength", 0) < 32:
        yield "ApiSecretStore: let it generate 32 characters at least"
    if store.get("DeletionPolicy") != "Retain" or store.get("UpdateReplacePolicy") != "Retain":
        yield "ApiSecretStore: set DeletionPolicy and UpdateReplacePolicy to Retain; the kept table's keys need it"


def whoever_may_not_use_the_key_cannot_see_the_secret(stack):
    wanted = variables(functions(stack)["AggregateFunction"]).get("KMS_KEY_ARN") or None
    secret = stack["Resources"].get("ApiSecretStore", {"Properties": {"KmsKeyId": wanted}})
    for what, found in (
            ("ApiFunction: KmsKeyArn", functions(stack)["ApiFunction"].get("KmsKeyArn")),
            ("ApiSecretStore: KmsKeyId", secret["Properties"].get("KmsKeyId"))):
        if found != wanted:
            yield f"{what} is {found}; want {wanted}"


def the_function_may_write_to_the_topics_that_are_read_and_no_others(stack):
    found = variables(functions(stack)["ApiFunction"])
    cluster = next((
        mapping["Properties"]["EventSourceArn"]
        for mapping in of_type(stack, "AWS::Lambda::EventSourceMapping").values()), None)
    wanted = {}
    if found.get("KAFKA_BOOTSTRAP_SERVERS") and found.get("KAFKA_AUTH") == "iam":
        topics = (found["EVENTS_TOPIC"], found["METRICS_TOPIC"])
        wanted = {f"{cluster.replace(':cluster/', ':topic/')}/{topic}": KAFKA_TOPIC for topic in topics}
        wanted[cluster] = KAFKA_CLUSTER
    rights = {}
    for item in with_policies(stack, "ApiRole")["Resources"].values():
        for statement in statements(item["Properties"]):
            for resource in listed(statement["Resource"]):
                actions = {action for action in listed(statement["Action"]) if action.startswith("kafka")}
                if actions:
                    rights.setdefault(str(resource), set()).update(actions)
    if rights != wanted:
        yield f"ApiRole: of Kafka it may {rights}; want {wanted}"


def the_function_has_the_secret_s_credentials_where_it_shows_them(stack):
    found = variables(functions(stack)["ApiFunction"])
    by_secret = bool(found.get("KAFKA_BOOTSTRAP_SERVERS")) and found.get("KAFKA_AUTH") == "scram"
    for variable in ("KAFKA_USERNAME", "KAFKA_PASSWORD"):
        value = found.get(variable)
        if by_secret != (isinstance(value, str) and value.startswith("{{resolve:secretsmanager:")):
            yield f"ApiFunction: {variable} is {value}; resolve it from KafkaSecretArn where KafkaAuth is scram"


def requests_can_make_no_keys(stack):
    writes = {"dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    denials = [
        statement for statement in statements(stack["Resources"]["ApiRole"]["Properties"])
        if statement["Effect"] == "Deny" and set(statement["Action"]) == writes
        and statement["Resource"] == {"Fn::GetAtt": ["StateTable", "Arn"]}
        and statement.get("Condition") == {
            "ForAnyValue:StringEquals": {"dynamodb:LeadingKeys": ["APIKEYS", "SETTINGS"]}}]
    if not denials:
        yield f"ApiRole: deny {sorted(writes)} on the items APIKEYS and SETTINGS, which no request may change"


def the_alarms_of_the_apis_see_what_they_are_there_for(stack):
    for name, wanted in ALARMED.items():
        alarm = stack["Resources"][name]["Properties"]
        wanted = wanted | {"Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "ApiFunction"}}]}
        for key, value in wanted.items():
            if alarm.get(key) != value:
                yield f"{name}: {key} is {alarm.get(key)}; want {value}"
    for name, api in FAILURES.items():
        if (name in stack["Resources"]) != (api in stack["Resources"]):
            yield f"{name}: give it the condition of {api}"
            continue
        metrics = stack["Resources"].get(name, {}).get("Properties", {}).get("Metrics", [])
        found = {
            metric["MetricStat"]["Metric"]["MetricName"]: metric["MetricStat"]["Metric"]["Dimensions"]
            for metric in metrics if "MetricStat" in metric}
        wanted = dict.fromkeys(("5xx", "Count"), [{"Name": "ApiId", "Value": {"Ref": api}}])
        if metrics and found != wanted:
            yield f"{name}: it counts {found}; want {wanted}"
