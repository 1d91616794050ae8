"""The agent card: who we are, in both dialects on one address."""

from __future__ import annotations

from typing import Final

from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    SecurityRequirement,
    StringList,
)

from services.contract.a2a.settings import AgentProfile, ServerSettings

CARD_PATH: Final = "/.well-known/agent-card.json"
OLD_CARD_PATH: Final = "/.well-known/agent.json"


def build_card(profile: AgentProfile, settings: ServerSettings) -> AgentCard:
    """The card of an agent that speaks JSON-RPC, and HTTP+JSON when `rest`, at `settings.public_url()`."""
    url = settings.public_url()
    versions = ("1.0", "0.3") if settings.card_dialect == "both" else ("1.0",)
    bindings = ("JSONRPC", "HTTP+JSON") if settings.rest else ("JSONRPC",)
    card = AgentCard(
        name=profile.name,
        description=profile.description,
        version=profile.version,
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version=version)
            for binding in bindings
            for version in versions
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=False, extended_agent_card=False),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain", "application/json"],
        skills=[
            AgentSkill(id=skill.id, name=skill.name, description=skill.description, tags=list(skill.tags))
            for skill in profile.skills
        ],
    )
    if settings.auth_token is not None:
        card.security_schemes["bearer"].http_auth_security_scheme.scheme = "Bearer"
        card.security_requirements.append(SecurityRequirement(schemes={"bearer": StringList()}))
    return card
