// Package token owns JSON Web Tokens: it turns one into a relay.Grant, or says why not, and signs
// those of `meridian dev` and `meridian token`.
//
// The claims are iss, aud, sub, exp (all required), nbf, iat, and
//
//	"cap": {"chat:*": ["subscribe", "publish"], "chat:lobby": ["history"]}
//
// a map from channel patterns to actions. An action that this version does not know allows
// nothing. Signatures are EdDSA (Ed25519), ES256 and RS256; HS256 where a Secret is configured.
package token
