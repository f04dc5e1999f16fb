"""CloudWatch's metrics under the names that deploy/prometheus/cloudwatch_exporter.yml gives them."""

from typing import Final

LAMBDA_INVOCATIONS: Final = "aws_lambda_invocations_sum"
LAMBDA_ERRORS: Final = "aws_lambda_errors_sum"
LAMBDA_THROTTLES: Final = "aws_lambda_throttles_sum"
LAMBDA_CONCURRENT: Final = "aws_lambda_concurrent_executions_maximum"
LAMBDA_DURATION_AVERAGE: Final = "aws_lambda_duration_average"
LAMBDA_DURATION_MAXIMUM: Final = "aws_lambda_duration_maximum"

READ_UNITS: Final = "aws_dynamodb_consumed_read_capacity_units_sum"
WRITE_UNITS: Final = "aws_dynamodb_consumed_write_capacity_units_sum"
READ_THROTTLES: Final = "aws_dynamodb_read_throttle_events_sum"
WRITE_THROTTLES: Final = "aws_dynamodb_write_throttle_events_sum"
THROTTLED: Final = "aws_dynamodb_throttled_requests_sum"
SYSTEM_ERRORS: Final = "aws_dynamodb_system_errors_sum"
LATENCY_AVERAGE: Final = "aws_dynamodb_successful_request_latency_average"
LATENCY_MAXIMUM: Final = "aws_dynamodb_successful_request_latency_maximum"

CDN_REQUESTS: Final = "aws_cloudfront_requests_sum"
CDN_BYTES: Final = "aws_cloudfront_bytes_downloaded_sum"
CDN_4XX: Final = "aws_cloudfront_4xx_error_rate_average"
CDN_5XX: Final = "aws_cloudfront_5xx_error_rate_average"
CDN_HIT_RATE: Final = "aws_cloudfront_cache_hit_rate_average"
CDN_ORIGIN_LATENCY: Final = "aws_cloudfront_origin_latency_average"
