// What llama.cpp computes, in F32 with keys and values in F32: a peer of `cargo xtask parity`.
//
//     logits MODEL OUT TOKEN...    writes the logits after each token to OUT, in f32
//     logits MODEL --embed OUT TOKEN...
//                                  writes the embedding of the tokens to OUT, in f32, pooled as the file says, or the
//                                  outputs of its classifier
//     logits MODEL --quantize TYPE OUT EXACT
//                                  writes MODEL, whose weights are in F32, with its matrices in TYPE to OUT, and with the
//                                  numbers that these stand for in F32 to EXACT
//     logits MODEL --nll TEXT N    prints, for windows of N tokens of TEXT, the number of scored tokens and their mean
//                                  negative log-likelihood: all tokens that have one before them in their window

#include "gguf.h"
#include "llama.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

static std::vector<float> decode(llama_model * model, const std::vector<llama_token> & tokens) {
    const int n = (int) tokens.size();
    auto params            = llama_context_default_params();
    params.n_ctx           = n;
    params.n_batch         = n;
    params.n_ubatch        = n;
    params.type_k          = GGML_TYPE_F32;
    params.type_v          = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) {
        exit(2);
    }
    llama_batch batch = llama_batch_init(n, 0, 1);
    batch.n_tokens    = n;
    for (int i = 0; i < n; i++) {
        batch.token[i]     = tokens[i];
        batch.pos[i]       = i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = 1;
    }
    if (llama_decode(context, batch) != 0) {
        exit(3);
    }
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    std::vector<float> out;
    for (int i = 0; i < n; i++) {
        const float * row = llama_get_logits_ith(context, i);
        out.insert(out.end(), row, row + n_vocab);
    }
    llama_batch_free(batch);
    llama_free(context);
    return out;
}

static std::vector<float> embed(llama_model * model, const std::vector<llama_token> & tokens) {
    const int n = (int) tokens.size();
    auto params            = llama_context_default_params();
    params.n_ctx           = n;
    params.n_batch         = n;
    params.n_ubatch        = n;
    params.embeddings      = true;
    params.type_k          = GGML_TYPE_F32;
    params.type_v          = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) {
        exit(2);
    }
    llama_batch batch = llama_batch_init(n, 0, 1);
    batch.n_tokens    = n;
    for (int i = 0; i < n; i++) {
        batch.token[i]     = tokens[i];
        batch.pos[i]       = i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = 1;
    }
    if (llama_decode(context, batch) != 0) {
        exit(3);
    }
    const bool is_rank = llama_pooling_type(context) == LLAMA_POOLING_TYPE_RANK;
    const int  width   = is_rank ? llama_model_n_cls_out(model) : llama_model_n_embd_out(model);
    const float *      row = llama_get_embeddings_seq(context, 0);
    std::vector<float> out;
    if (row) {
        out.assign(row, row + width);
    }
    llama_batch_free(batch);
    llama_free(context);
    return out;
}

static void nll(llama_model * model, const char * path, size_t window) {
    std::ifstream      file(path);
    std::stringstream  stream;
    stream << file.rdbuf();
    const std::string  text  = stream.str();
    const llama_vocab * vocab = llama_model_get_vocab(model);
    std::vector<llama_token> tokens(text.size() + 8);
    const int n = llama_tokenize(vocab, text.data(), text.size(), tokens.data(), tokens.size(), false, false);
    tokens.resize(n);
    // As `gust perplexity` does it.
    const bool   has_bos = llama_vocab_get_add_bos(vocab);
    const size_t room    = window - has_bos;
    const size_t n_vocab = llama_vocab_n_tokens(vocab);
    double sum    = 0;
    size_t scored = 0;
    for (size_t start = 0; start < tokens.size(); start += room) {
        std::vector<llama_token> part;
        if (has_bos) {
            part.push_back(llama_vocab_bos(vocab));
        }
        const size_t end = std::min(start + room, tokens.size());
        part.insert(part.end(), tokens.begin() + start, tokens.begin() + end);
        const std::vector<float> logits = decode(model, part);
        for (size_t i = 0; i + 1 < part.size(); i++) {
            const float * row     = &logits[i * n_vocab];
            const float   largest = *std::max_element(row, row + n_vocab);
            double        total   = 0;
            for (size_t v = 0; v < n_vocab; v++) {
                total += std::exp(double(row[v]) - largest);
            }
            sum += std::log(total) + largest - row[part[i + 1]];
            scored++;
        }
    }
    printf("%zu %.9f\n", scored, sum / scored);
}

static int quantize(const char * path, const char * type_name, const char * out, const char * exact) {
    int number = 0;
    while (number < GGML_TYPE_COUNT && strcmp(ggml_type_name(ggml_type(number)), type_name) != 0) {
        number++;
    }
    if (number == GGML_TYPE_COUNT) {
        fprintf(stderr, "error: no type is called %s\n", type_name);
        return 5;
    }
    const ggml_type type = ggml_type(number);
    ggml_context * tensors = nullptr;
    gguf_context * from    = gguf_init_from_file(path, { false, &tensors });
    if (!from) {
        return 1;
    }
    gguf_context * to[2] = { gguf_init_empty(), gguf_init_empty() };
    for (gguf_context * file : to) {
        gguf_set_kv(file, from);
    }
    std::vector<std::vector<char>>  blocks;
    std::vector<std::vector<float>> numbers;
    for (int64_t i = 0; i < gguf_get_n_tensors(from); i++) {
        const char *  name   = gguf_get_tensor_name(from, i);
        ggml_tensor * tensor = ggml_get_tensor(tensors, name);
        for (gguf_context * file : to) {
            gguf_add_tensor(file, tensor);
        }
        const int64_t n_cols = tensor->ne[0];
        const int64_t n_rows = ggml_nrows(tensor);
        if (n_rows < 2 || n_cols % ggml_blck_size(type) != 0) {
            continue;
        }
        // All columns are of the same importance.
        const std::vector<float> importance(n_cols, 1.0f);
        blocks.emplace_back(ggml_row_size(type, n_cols) * n_rows);
        const float * weights = (const float *) tensor->data;
        ggml_quantize_chunk(type, weights, blocks.back().data(), 0, n_rows, n_cols, importance.data());
        numbers.emplace_back(n_cols * n_rows);
        ggml_get_type_traits(type)->to_float(blocks.back().data(), numbers.back().data(), n_cols * n_rows);
        gguf_set_tensor_type(to[0], name, type);
        gguf_set_tensor_data(to[0], name, blocks.back().data());
        gguf_set_tensor_data(to[1], name, numbers.back().data());
    }
    const bool is_written = gguf_write_to_file(to[0], out, false) && gguf_write_to_file(to[1], exact, false);
    return is_written ? 0 : 4;
}

int main(int argc, char ** argv) {
    llama_backend_init();
    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level >= GGML_LOG_LEVEL_ERROR) {
                fputs(text, stderr);
            }
        },
        nullptr);
    if (argc == 6 && strcmp(argv[2], "--quantize") == 0) {
        return quantize(argv[1], argv[3], argv[4], argv[5]);
    }
    auto params         = llama_model_default_params();
    params.n_gpu_layers = 0;
    llama_model * model = llama_model_load_from_file(argv[1], params);
    if (!model) {
        return 1;
    }
    if (argc == 5 && strcmp(argv[2], "--nll") == 0) {
        nll(model, argv[3], atoi(argv[4]));
        return 0;
    }
    const bool is_embedding = strcmp(argv[2], "--embed") == 0;
    const int  first        = is_embedding ? 3 : 2;
    std::vector<llama_token> tokens;
    for (int i = first + 1; i < argc; i++) {
        tokens.push_back(atoi(argv[i]));
    }
    const std::vector<float> numbers = is_embedding ? embed(model, tokens) : decode(model, tokens);
    FILE * out = fopen(argv[first], "wb");
    if (!out || fwrite(numbers.data(), sizeof(float), numbers.size(), out) != numbers.size()) {
        return 4;
    }
    return fclose(out);
}
