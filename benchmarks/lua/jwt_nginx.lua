-- What a gateway on nginx does for a bearer token, no more: split, decode, signature by libcrypto, exp and aud. The JSON is only searched, not parsed.
local ffi = require "ffi"
ffi.cdef [[
typedef struct evp_md_st EVP_MD;
typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct bio_st BIO;
const EVP_MD *EVP_sha256(void);
unsigned char *HMAC(const EVP_MD *md, const void *key, int key_n, const unsigned char *data, size_t n, unsigned char *out, unsigned int *out_n);
int CRYPTO_memcmp(const void *a, const void *b, size_t n);
BIO *BIO_new_mem_buf(const void *data, int n);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bio, EVP_PKEY **key, void *callback, void *user);
EVP_MD_CTX *EVP_MD_CTX_new(void);
int EVP_MD_CTX_reset(EVP_MD_CTX *ctx);
int EVP_DigestVerifyInit(EVP_MD_CTX *ctx, void *key_ctx, const EVP_MD *md, void *engine, EVP_PKEY *key);
int EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *signature, size_t signature_n, const unsigned char *data, size_t n);
]]
local C, sha256 = ffi.C, ffi.C.EVP_sha256()
local gsub, find, sub, match = string.gsub, string.find, string.sub, string.match
local mac = ffi.new("unsigned char[32]")

local function base64url(text)
  return ngx.decode_base64((gsub(gsub(text, "-", "+"), "_", "/")) .. string.rep("=", (4 - #text % 4) % 4))
end

local function hs256(key)
  return function(data, signature)
    C.HMAC(sha256, key, #key, data, #data, mac, nil)
    return #signature == 32 and C.CRYPTO_memcmp(mac, signature, 32) == 0
  end
end

local function rs256(pem)
  local key, ctx = C.PEM_read_bio_PUBKEY(C.BIO_new_mem_buf(pem, #pem), nil, nil, nil), C.EVP_MD_CTX_new()
  return function(data, signature)
    C.EVP_MD_CTX_reset(ctx)
    return C.EVP_DigestVerifyInit(ctx, nil, sha256, nil, key) == 1 and C.EVP_DigestVerify(ctx, signature, #signature, data, #data) == 1
  end
end

local function checker(alg, file, audience)
  local key = io.open(file):read("*a")
  local verify = alg == "HS256" and hs256(key) or rs256(key)
  local named, meant = '"alg":"' .. alg .. '"', '"aud":"' .. audience .. '"'
  return function()
    local token = match(ngx.var.http_authorization or "", "^[Bb]earer (.+)$")
    local first = token and find(token, ".", 1, true)
    local second = first and find(token, ".", first + 1, true)
    if not second then return ngx.exit(401) end
    local header, payload, signature = base64url(sub(token, 1, first - 1)), base64url(sub(token, first + 1, second - 1)), base64url(sub(token, second + 1))
    if not (header and payload and signature and find(header, named, 1, true) and verify(sub(token, 1, second - 1), signature)) then return ngx.exit(401) end
    local exp = tonumber(match(payload, '"exp":(%d+)'))
    if not exp or exp <= ngx.time() or not find(payload, meant, 1, true) then return ngx.exit(401) end
    ngx.req.set_header("X-Subject", match(payload, '"sub":"([^"]*)"'))
  end
end

return checker
