"""Faults of the HTTP APIs that must be found; faults.py says how, and has the others."""

import api_checks as apis
import role_checks as roles
import source_checks as written
import stack_checks as stacks
from breaking import all_of, give, put
from resolve import REMOVED
from variants import CLUSTER

FUNCTION = ("ApiFunction", "Properties")
VARIABLES = (*FUNCTION, "Environment", "Variables")
RIGHTS = ("ApiRole", "Properties", "Policies", 0, "PolicyDocument", "Statement")
API = ("Api", "Properties", "Body")
STAGE = ("ApiApiGatewayDefaultStage", "Properties")
TOKENS = ("JwtApi", "Properties", "Body")
TOKENS_STAGE = ("JwtApiApiGatewayDefaultStage", "Properties")
AUTHORIZER = (*TOKENS, "components", "securitySchemes", "token", "x-amazon-apigateway-authorizer")
CORS = ("x-amazon-apigateway-cors",)
ACCESS_LOG = ("AccessLogSettings", "Format")
INTEGRATION = ("components", "x-amazon-apigateway-integrations", "function")
STATE = {"Fn::GetAtt": ["StateTable", "Arn"]}
VIEWS = {"Fn::GetAtt": ["ViewsTable", "Arn"]}
FILES = {"Fn::Sub": "${ArchiveBucket.Arn}/parquet/*"}
TOPIC = CLUSTER.replace(":cluster/", ":topic/") + "/shop.activity"
HARD_CODED = "a secret that stands in the template, for everybody to read"
ANYBODY = {"FunctionName": {"Ref": "ApiFunction"}, "Action": "lambda:InvokeFunction", "Principal": "*"}
LOGGED_ADDRESS = '{"time": "$context.requestTime", "ip": "$context.identity.sourceIp"}'
NO_METRICS = {"Metrics": [{"Id": "requests", "MetricStat": {"Metric": {"MetricName": "Count", "Dimensions": []}}}]}


def open_to_all(stack):
    """The fault of a route of the tokens' API that asks for none."""
    del stack["Resources"]["JwtApi"]["Properties"]["Body"]["paths"]["/analytics/{proxy+}"]["get"]["security"]


# A fault, what it does to a whole stack, the check that must find it, and the linter's rule that must as well.
API_FAULTS = [
    ("a right of the API to scan", give("dynamodb:Scan", VIEWS, "ApiRole"),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("a right of the API to delete", give("dynamodb:DeleteItem", STATE, "ApiRole"),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("an API that reaches the files", give("s3:GetObject", FILES, "ApiRole"),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("an API that may not list", put(*RIGHTS, 3, "Resource", 1, to=VIEWS),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("an API with another's role", put(*FUNCTION, "Role", to={"Fn::GetAtt": ["ArchiveRole", "Arn"]}),
     roles.a_function_has_a_role_of_its_own, None),
    ("requests that make keys", put(*RIGHTS, 1, to=REMOVED), apis.requests_can_make_no_keys, None),
    ("requests that make keys by PartiQL", put(*RIGHTS, 1, "Action", 0, to="dynamodb:PutItem"),
     apis.requests_can_make_no_keys, None),
    ("a write of many entities", give("dynamodb:BatchWriteItem", STATE, "ArchiveRole"),
     roles.writes_of_many_items_reach_history_alone, None),
    ("an API without its lanes", put(*VARIABLES, "HTTP_LANES", to=REMOVED),
     stacks.functions_find_their_whole_environment, None),
    ("views without the index directory", put("ViewsTable", "Properties", "GlobalSecondaryIndexes", 1, to=REMOVED),
     stacks.tables_have_the_indexes_that_are_read, None),
    ("a route that is not there", put(*API, "paths", "/openapi.json", to=REMOVED),
     apis.the_apis_have_the_routes_that_are_served_and_no_others, None),
    ("a route that nobody serves", put(*API, "paths", "/{proxy+}", to={"x-amazon-apigateway-any-method": {}}),
     apis.the_apis_have_the_routes_that_are_served_and_no_others, None),
    ("a page that needs a token", put(*TOKENS, "paths", "/", to={"get": {}}),
     apis.the_apis_have_the_routes_that_are_served_and_no_others, None),
    ("a route to somewhere else", put(*API, "paths", "/health", "get", "x-amazon-apigateway-integration", to={}),
     apis.every_route_invokes_the_function_as_it_reads_requests, None),
    ("requests of the older format", put(*API, *INTEGRATION, "payloadFormatVersion", to="1.0"),
     apis.every_route_invokes_the_function_as_it_reads_requests, None),
    ("tokens' requests to another function",
     put(*TOKENS, *INTEGRATION, "uri", "Fn::Sub", 1, "function", "Fn::GetAtt", 0, to="ArchiveFunction"),
     apis.every_route_invokes_the_function_as_it_reads_requests, None),
    ("a dangling Sub of named values",
     put(*API, *INTEGRATION, "uri", "Fn::Sub", 1, "function", "Fn::GetAtt", 0, to="NoSuchFunction"),
     stacks.every_reference_leads_somewhere, "cfn-lint E1019"),
    ("a function that anybody may invoke", put("ApiInvocation", "Properties", to=ANYBODY),
     apis.the_function_may_be_invoked_by_its_gateways_alone, None),
    ("a gateway that may not invoke", put("JwtApiInvocation", to=REMOVED),
     apis.the_function_may_be_invoked_by_its_gateways_alone, None),
    ("a function that its gateway does not wait for", put(*FUNCTION, "Timeout", to=31),
     apis.the_function_gives_up_before_its_gateway, None),
    ("tokens of no issuer", put(*VARIABLES, "JWT_ISSUER", to=""),
     apis.tokens_are_taken_where_an_issuer_is_given, None),
    ("tokens of another issuer", put(*AUTHORIZER, "jwtConfiguration", "issuer", to="https://id.example.org/"),
     apis.the_gateway_looks_at_tokens_before_the_function_does, None),
    ("tokens for anybody", put(*AUTHORIZER, "jwtConfiguration", "audience", to=[]),
     apis.the_gateway_looks_at_tokens_before_the_function_does, None),
    ("tokens in the query", put(*AUTHORIZER, "identitySource", to="$request.querystring.token"),
     apis.the_gateway_looks_at_tokens_before_the_function_does, None),
    ("a route that asks for no token", open_to_all, apis.the_gateway_looks_at_tokens_before_the_function_does, None),
    ("ingestion by a reader's token",
     put(*TOKENS, "paths", "/analytics/events", "post", "security", 0, "token", to=["read"]),
     apis.the_gateway_looks_at_tokens_before_the_function_does, None),
    ("keys that need a token", put(*API, "paths", "/metrics", "get", "security", to=[{"token": ["admin"]}]),
     apis.the_gateway_looks_at_tokens_before_the_function_does, None),
    ("an API without throttling", put(*STAGE, "DefaultRouteSettings", to=REMOVED),
     apis.every_route_is_throttled_and_ingestion_the_most, None),
    ("ingestion that is throttled like reading", put(*TOKENS_STAGE, "RouteSettings", to=REMOVED),
     apis.every_route_is_throttled_and_ingestion_the_most, None),
    ("bursts of ingestion beyond those of reading",
     put(*STAGE, "RouteSettings", "POST /analytics/events/batch", "ThrottlingBurstLimit", to=5000),
     apis.every_route_is_throttled_and_ingestion_the_most, None),
    ("throttling of a route that is not there", put(*STAGE, "RouteSettings", "PUT /analytics/events", to={}),
     apis.every_route_is_throttled_and_ingestion_the_most, None),
    ("an API without an access log", put(*STAGE, "AccessLogSettings", to=REMOVED),
     apis.requests_are_logged_and_nobody_s_address, "checkov CKV_AWS_95"),
    ("an access log with addresses", put(*STAGE, *ACCESS_LOG, to=LOGGED_ADDRESS),
     apis.requests_are_logged_and_nobody_s_address, None),
    ("an access log in plain text", put(*TOKENS_STAGE, *ACCESS_LOG, to="$context.requestId $context.status"),
     apis.requests_are_logged_and_nobody_s_address, None),
    ("an access log that is kept for ever", put("ApiAccessLogGroup", "Properties", "RetentionInDays", to=REMOVED),
     stacks.functions_log_json_into_their_own_group, "checkov CKV_AWS_66"),
    ("any page may ask", put(*API, *CORS, "allowOrigins", to=["*"]),
     apis.browsers_may_ask_from_the_origins_that_are_given_alone, None),
    ("any page that the function trusts may ask", all_of(
        put(*API, *CORS, "allowOrigins", to=["https://*"]), put(*TOKENS, *CORS, "allowOrigins", to=["https://*"]),
        put(*VARIABLES, "ALLOWED_ORIGINS", to="https://*")),
     apis.browsers_may_ask_from_the_origins_that_are_given_alone, None),
    ("pages that send cookies", put(*TOKENS, *CORS, "allowCredentials", to=True),
     apis.browsers_may_ask_from_the_origins_that_are_given_alone, None),
    ("pages that may delete", put(*API, *CORS, "allowMethods", to=["DELETE", "GET", "POST"]),
     apis.browsers_may_ask_from_the_origins_that_are_given_alone, None),
    ("a secret in the template", put(*VARIABLES, "API_SECRET", to=HARD_CODED),
     apis.the_secret_is_made_or_given_and_kept, None),
    ("no secret", put("ApiSecretStore", to=REMOVED), apis.the_secret_is_made_or_given_and_kept, None),
    ("a secret that can be guessed",
     put("ApiSecretStore", "Properties", "GenerateSecretString", "PasswordLength", to=12),
     apis.the_secret_is_made_or_given_and_kept, None),
    ("a secret that goes with its stack", put("ApiSecretStore", "DeletionPolicy", to="Delete"),
     apis.the_secret_is_made_or_given_and_kept, None),
    ("a secret that whoever sees the function sees", put(*FUNCTION, "KmsKeyArn", to=REMOVED),
     apis.whoever_may_not_use_the_key_cannot_see_the_secret, None),
    ("a secret under the account's key", put("ApiSecretStore", "Properties", "KmsKeyId", to=REMOVED),
     apis.whoever_may_not_use_the_key_cannot_see_the_secret, "checkov CKV_AWS_149"),
    ("a right to write to Kafka that is not needed", give("kafka-cluster:WriteData", TOPIC, "ApiRole"),
     apis.the_function_may_write_to_the_topics_that_are_read_and_no_others, None),
    ("a producer without its password", put(*VARIABLES, "KAFKA_PASSWORD", to=REMOVED),
     apis.the_function_has_the_secret_s_credentials_where_it_shows_them, None),
    ("a password in the template", put(*VARIABLES, "KAFKA_PASSWORD", to="tidemark"),
     apis.the_function_has_the_secret_s_credentials_where_it_shows_them, None),
    ("an alarm on the mean latency", put("ApiLatencyAlarm", "Properties", "ExtendedStatistic", to="p50"),
     apis.the_alarms_of_the_apis_see_what_they_are_there_for, None),
    ("an alarm on another function's throttles",
     put("ApiThrottlesAlarm", "Properties", "Dimensions", 0, "Value", to={"Ref": "ArchiveFunction"}),
     apis.the_alarms_of_the_apis_see_what_they_are_there_for, None),
    ("an alarm that counts no failures", put("ApiFailuresAlarm", "Properties", to=NO_METRICS),
     apis.the_alarms_of_the_apis_see_what_they_are_there_for, None),
    ("an API whose failures nobody sees", put("JwtApiFailuresAlarm", to=REMOVED),
     apis.the_alarms_of_the_apis_see_what_they_are_there_for, None),
]

# The same on the template as written.
API_SOURCE_FAULTS = [
    ("a topic that is not the one that is read", put(*VARIABLES, "EVENTS_TOPIC", to={"Ref": "UserEventsTopic"}),
     written.variables_are_set_from_the_parameters_of_their_names),
    ("a variable of all functions that is set from another's parameter",
     put("Function", "Environment", "Variables", "TOP_N", to={"Ref": "HttpLanes"}, under="Globals"),
     written.variables_are_set_from_the_parameters_of_their_names),
    ("origins that may be wildcards", put("AllowedOrigins", "AllowedPattern", to=REMOVED, under="Parameters"),
     written.no_origin_can_be_a_wildcard),
    ("a secret that the console shows", put("ApiSecret", "NoEcho", to=REMOVED, under="Parameters"),
     written.a_secret_is_never_shown),
    ("a secret of eight characters", put("ApiSecret", "AllowedPattern", to="^.{8,}$", under="Parameters"),
     written.a_secret_is_never_shown),
    ("a memory of the API that Lambda has not", put("ApiMemorySize", "MaxValue", to=20480, under="Parameters"),
     written.no_deployer_can_pass_a_limit_of_lambda),
]

# And where a condition is not the parameter's own, in a stack without tokens that writes nothing to Kafka.
API_OPTIONAL_FAULTS = [
    ("a tokens' API that does not ask for their issuer", put("JwtApi", "Condition", to=REMOVED),
     apis.tokens_are_taken_where_an_issuer_is_given),
    ("an invocation by an API that is not there", put("JwtApiInvocation", "Condition", to=REMOVED),
     apis.the_function_may_be_invoked_by_its_gateways_alone),
    ("an alarm of an API that is not there", put("JwtApiFailuresAlarm", "Condition", to=REMOVED),
     apis.the_alarms_of_the_apis_see_what_they_are_there_for),
    ("a right to write to Kafka that does not ask for brokers", put("ApiKafkaPolicy", "Condition", to="KafkaGiven"),
     apis.the_function_may_write_to_the_topics_that_are_read_and_no_others),
    ("a password that does not ask for brokers",
     put(*VARIABLES, "KAFKA_PASSWORD", to="{{resolve:secretsmanager:kafka:SecretString:password}}"),
     apis.the_function_has_the_secret_s_credentials_where_it_shows_them),
    ("pages that may ask from nowhere", put(*API[:2], "DefinitionBody", *CORS, "Fn::If", 0, to="KafkaGiven"),
     apis.browsers_may_ask_from_the_origins_that_are_given_alone),
]
