"""The routes of the management API, by what they are about; `handlers` registers them. Pure."""

from collections.abc import Callable
from datetime import datetime

from services.console.access import RouteSpec
from services.console.alert_routes import AlertRoutes
from services.console.all_keys import AllKeysRoutes
from services.console.audit_routes import AuditRoutes
from services.console.budget_routes import BudgetRoutes
from services.console.catalog_routes import CatalogRoutes
from services.console.channel_routes import ChannelRoutes
from services.console.charge_routes import ChargeRoutes
from services.console.compliance_routes import ComplianceRoutes
from services.console.credit_routes import CreditRoutes
from services.console.dead_letter_routes import DeadLetterRoutes
from services.console.deletion_routes import DeletionRoutes
from services.console.endpoint_routes import EndpointRoutes
from services.console.estimate_routes import EstimateRoutes
from services.console.export_routes import ExportRoutes
from services.console.feedback_routes import FeedbackRoutes
from services.console.health_routes import HealthRoutes
from services.console.installation_routes import InstallationRoutes
from services.console.integration_routes import IntegrationRoutes
from services.console.internal_service_routes import InternalServiceRoutes
from services.console.invoice_routes import InvoiceRoutes
from services.console.key_routes import KeyRoutes
from services.console.lago_routes import LagoRoutes
from services.console.member_routes import MemberRoutes
from services.console.own_tenant_routes import OwnTenantRoutes
from services.console.payment_routes import PaymentRoutes
from services.console.preference_routes import PreferenceRoutes
from services.console.privacy_routes import PrivacyRoutes
from services.console.purchase_routes import PurchaseRoutes
from services.console.reading_routes import ReadingRoutes
from services.console.recommendation_routes import RecommendationRoutes
from services.console.reconciliation_routes import ReconciliationRoutes
from services.console.report_routes import ReportRoutes
from services.console.request_routes import RequestRoutes
from services.console.route_preview_routes import RoutePreviewRoutes
from services.console.rule_routes import RuleRoutes
from services.console.sealing import Sealer
from services.console.service_client import ServiceClient
from services.console.subscription_routes import SubscriptionRoutes
from services.console.tenant_routes import TenantRoutes
from services.console.token_routes import TokenRoutes
from services.console.trace_routes import TraceRoutes
from services.console.usage_routes import UsageRoutes
from services.console.vault_routes import VaultRoutes
from services.console.webhook_routes import WebhookRoutes


def tenant_specs(services: ServiceClient, sealer: Sealer, clock: Callable[[], datetime]) -> tuple[RouteSpec, ...]:
    """Return the routes about one tenant."""
    return (
        *KeyRoutes(services, sealer, clock).specs(),
        *TokenRoutes(services).specs(),
        *InternalServiceRoutes(services).specs(),
        *MemberRoutes(services).specs(),
        *EndpointRoutes(services).specs(),
        *PreferenceRoutes(services).specs(),
        *UsageRoutes(services).specs(),
        *RequestRoutes(services).specs(),
        *TraceRoutes(services).specs(),
        *EstimateRoutes(services).specs(),
        *CreditRoutes(services).specs(),
        *PaymentRoutes(services).specs(),
        *PurchaseRoutes(services).specs(),
        *SubscriptionRoutes(services).specs(),
        *ChargeRoutes(services).specs(),
        *BudgetRoutes(services).specs(),
        *AlertRoutes(services).specs(),
        *InvoiceRoutes(services).specs(),
        *ChannelRoutes(services).specs(),
        *WebhookRoutes(services, sealer).specs(),
        *ReportRoutes(services).specs(),
        *ReconciliationRoutes(services).specs(),
        *FeedbackRoutes(services).specs(),
        *ReadingRoutes(services).specs(),
        *AuditRoutes(services).specs(),
        *HealthRoutes(services).specs(),
        *RuleRoutes(services).specs(),
        *RoutePreviewRoutes(services).specs(),
        *RecommendationRoutes(services).specs(),
        *VaultRoutes(services).specs(),
        *IntegrationRoutes(services, sealer).specs(),
        *OwnTenantRoutes(services).specs(),
        *DeletionRoutes(services).specs(),
        *ExportRoutes(services).specs(),
        *ComplianceRoutes(services).specs(),
        *PrivacyRoutes(services).specs(),
    )


def installation_specs(services: ServiceClient, sealer: Sealer) -> tuple[RouteSpec, ...]:
    """Return the routes about the whole installation."""
    return (
        *TenantRoutes(services).operator_specs(),
        *DeletionRoutes(services).operator_specs(),
        *AllKeysRoutes(services).operator_specs(),
        *VaultRoutes(services).operator_specs(),
        *IntegrationRoutes(services, sealer).operator_specs(),
        *ChargeRoutes(services).operator_specs(),
        *PaymentRoutes(services).operator_specs(),
        *LagoRoutes(services).operator_specs(),
        *PurchaseRoutes(services).operator_specs(),
        *DeadLetterRoutes(services).operator_specs(),
        *HealthRoutes(services).operator_specs(),
        *InstallationRoutes(services).operator_specs(),
        *CatalogRoutes(services).operator_specs(),
    )
